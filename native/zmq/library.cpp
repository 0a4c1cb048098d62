#include "library.h"

#include <link.h>
#include <uv.h>

#include <mutex>
#include <optional>
#include <string_view>
#include <vector>

namespace stemline::zmq {

namespace {

std::vector<std::string> loaded_addons() {
  std::vector<std::string> paths;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        const std::string_view path = info->dlpi_name;
        if (path.ends_with(".node")) static_cast<std::vector<std::string>*>(data)->emplace_back(path);
        return 0;
      },
      &paths);
  return paths;
}

class Loader {
 public:
  explicit Loader(uv_lib_t& opened) : opened_(opened) {}

  template <class Function>
  void get(Function*& function, const char* name) {
    void* address = nullptr;
    if (uv_dlsym(&opened_, name, &address) != 0 && missing_.empty()) missing_ = name;
    function = reinterpret_cast<Function*>(address);
  }

  const std::string& missing() const { return missing_; }

 private:
  uv_lib_t& opened_;
  std::string missing_;
};

std::optional<Library> load(uv_lib_t& opened, std::string& why) {
  Library library;
  Loader loader(opened);
  loader.get(library.ctx_new, "zmq_ctx_new");
  loader.get(library.ctx_term, "zmq_ctx_term");
  loader.get(library.socket, "zmq_socket");
  loader.get(library.close, "zmq_close");
  loader.get(library.setsockopt, "zmq_setsockopt");
  loader.get(library.getsockopt, "zmq_getsockopt");
  loader.get(library.bind, "zmq_bind");
  loader.get(library.connect, "zmq_connect");
  loader.get(library.socket_monitor, "zmq_socket_monitor");
  loader.get(library.poll, "zmq_poll");
  loader.get(library.error, "zmq_errno");
  loader.get(library.error_text, "zmq_strerror");
  loader.get(library.msg_init, "zmq_msg_init");
  loader.get(library.msg_init_data, "zmq_msg_init_data");
  loader.get(library.msg_recv, "zmq_msg_recv");
  loader.get(library.msg_send, "zmq_msg_send");
  loader.get(library.msg_close, "zmq_msg_close");
  loader.get(library.msg_more, "zmq_msg_more");
  loader.get(library.msg_data, "zmq_msg_data");
  loader.get(library.msg_size, "zmq_msg_size");
  if (loader.missing().empty()) return library;
  why = "the zeromq package's addon does not show the function " + loader.missing();
  return std::nullopt;
}

}  // namespace

const Library* Library::find(std::string& why) {
  static std::mutex mutex;
  static std::optional<Library> found;
  const std::lock_guard lock(mutex);
  if (found) return &*found;
  why = "the zeromq package's addon was not loaded";
  for (const std::string& path : loaded_addons()) {
    // Through libuv: dlopen itself would tie the addon to the C library it was built with. What is loaded already is only
    // counted once more, and that count is never let go.
    uv_lib_t opened;
    if (uv_dlopen(path.c_str(), &opened) == 0) {
      void* version = nullptr;
      if (uv_dlsym(&opened, "zmq_version", &version) == 0) {
        found = load(opened, why);
        if (found) return &*found;
      }
    }
    uv_dlclose(&opened);
  }
  return nullptr;
}

}  // namespace stemline::zmq
