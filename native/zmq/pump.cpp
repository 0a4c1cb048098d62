#include "pump.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

namespace stemline::zmq {

namespace {

constexpr int reconnect_ms = 100;
constexpr int reconnect_most_ms = 2000;

// A peer whose machine is gone says nothing, and one that only receives never finds out by itself. ZeroMQ's own heartbeat
// cannot be used: a peer that is not reading because its queue is full does not answer it, and would be cut off.
constexpr int keepalive_idle_s = 30;
constexpr int keepalive_interval_s = 10;
constexpr int keepalive_count = 3;

// What sockets get that nobody has closed when their thread ends.
constexpr int linger_at_end_ms = 100;

// What the library waits beyond our deadline.
constexpr int library_grace_ms = 3000;

constexpr int monitored_events =
    event_connect_retried | event_accepted | event_disconnected | event_monitor_stopped | event_handshake_succeeded;

// A received part, released when nobody needs it any more.
class Received {
 public:
  explicit Received(const Library& library) : library_(library) { library_.msg_init(&message_); }
  ~Received() { library_.msg_close(&message_); }
  Received(const Received&) = delete;
  Received& operator=(const Received&) = delete;

  Message* message() { return &message_; }
  std::span<const uint8_t> bytes() { return {static_cast<const uint8_t*>(library_.msg_data(&message_)), library_.msg_size(&message_)}; }

 private:
  const Library& library_;
  Message message_;
};

// Receives one part; empty with errno set if there is none.
SharedBytes receive_part(const Library& library, void* socket, bool& more) {
  auto part = std::make_shared<Received>(library);
  if (library.msg_recv(part->message(), socket, flag_dontwait) < 0) return {};
  more = library.msg_more(part->message()) != 0;
  const std::span<const uint8_t> bytes = part->bytes();
  return {std::move(part), bytes};
}

// Sends one part, which stays shared with the library until it has left. False with errno set if it was not taken.
bool send_part(const Library& library, void* socket, const SharedBytes& part, int flags) {
  Message message;
  auto share = std::make_unique<SharedBytes>(part);
  const auto let_go = [](void*, void* hint) { delete static_cast<SharedBytes*>(hint); };
  if (library.msg_init_data(&message, const_cast<uint8_t*>(part.bytes.data()), part.bytes.size(), let_go, share.get()) != 0) return false;
  share.release();
  if (library.msg_send(&message, socket, flags) >= 0) return true;
  const int error = errno;
  library.msg_close(&message);
  errno = error;
  return false;
}

}  // namespace

Pump::Pump(const Library& library, std::function<void()> wake)
    : library_(library), context_(library.ctx_new()), wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), wake_(std::move(wake)) {
  if (uv_thread_create(&thread_, [](void* self) { static_cast<Pump*>(self)->run(); }, this) != 0) throw std::bad_alloc();
}

Pump::~Pump() {
  command([this] {
    stopping_ = true;
    for (auto& [number, socket] : sockets_) close_now(number, socket, linger_at_end_ms);
  });
  uv_thread_join(&thread_);
  library_.ctx_term(context_);
  ::close(wake_fd_);
}

uint32_t Pump::open(SocketType type, const SocketOptions& options, const std::string& endpoint, std::string& bound, std::string& why) {
  const bool pulls = type == SocketType::pull;
  uint32_t number;
  {
    const std::lock_guard lock(mutex_);
    number = ++last_number_;
  }
  const std::string monitor_endpoint = "inproc://monitor-" + std::to_string(number);
  Socket socket;
  const auto failed = [&] {
    why = library_.error_text(library_.error());
    if (socket.socket != nullptr) library_.close(socket.socket);
    if (socket.monitor != nullptr) library_.close(socket.monitor);
    return 0;
  };
  bool done = true;
  const auto set = [&](void* of, int option, const auto& value) {
    done = done && library_.setsockopt(of, option, &value, sizeof value) == 0;
  };
  socket.socket = library_.socket(context_, pulls ? type_pull : type_push);
  socket.monitor = library_.socket(context_, type_pair);
  if (socket.socket == nullptr || socket.monitor == nullptr) return failed();
  set(socket.monitor, option_linger, 0);
  set(socket.socket, option_linger, 0);
  set(socket.socket, pulls ? option_rcvhwm : option_sndhwm, options.high_water_mark);
  set(socket.socket, option_ipv6, options.ipv6 ? 1 : 0);
  set(socket.socket, option_tcp_keepalive, 1);
  set(socket.socket, option_tcp_keepalive_idle, keepalive_idle_s);
  set(socket.socket, option_tcp_keepalive_intvl, keepalive_interval_s);
  set(socket.socket, option_tcp_keepalive_cnt, keepalive_count);
  if (pulls) {
    set(socket.socket, option_maxmsgsize, options.max_message_bytes);
    set(socket.socket, option_reconnect_ivl, reconnect_ms);
    set(socket.socket, option_reconnect_ivl_max, reconnect_most_ms);
  }
  if (!done) return failed();
  if (library_.socket_monitor(socket.socket, monitor_endpoint.c_str(), monitored_events) != 0) return failed();
  if (library_.connect(socket.monitor, monitor_endpoint.c_str()) != 0) return failed();
  if ((pulls ? library_.connect : library_.bind)(socket.socket, endpoint.c_str()) != 0) return failed();
  char text[256] = {};
  size_t size = sizeof text;
  if (library_.getsockopt(socket.socket, option_last_endpoint, text, &size) != 0) return failed();
  bound = text;
  command([this, number, socket = std::move(socket)]() mutable { sockets_.emplace(number, std::move(socket)); });
  return number;
}

void Pump::receive(uint32_t socket) {
  command([this, socket] {
    if (const auto found = sockets_.find(socket); found != sockets_.end()) found->second.receiving = true;
  });
}

void Pump::send(uint32_t socket, Parts parts) {
  command([this, socket, parts = std::move(parts)]() mutable {
    const auto found = sockets_.find(socket);
    if (found == sockets_.end() || found->second.socket == nullptr) return emit(EventKind::unsent, socket);
    found->second.sending = true;
    found->second.outgoing = std::move(parts);
  });
}

void Pump::connect(uint32_t socket, std::string endpoint) {
  command([this, socket, endpoint = std::move(endpoint)] {
    const auto found = sockets_.find(socket);
    if (found != sockets_.end() && found->second.socket != nullptr) library_.connect(found->second.socket, endpoint.c_str());
  });
}

void Pump::close(uint32_t socket, int linger_ms) {
  command([this, socket, linger_ms] {
    if (const auto found = sockets_.find(socket); found != sockets_.end()) close_now(socket, found->second, linger_ms);
  });
}

std::deque<Event> Pump::take_events() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void Pump::command(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(work));
  }
  const uint64_t one = 1;
  // Full only if the thread has been woken already.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void Pump::emit(EventKind kind, uint32_t socket, Parts parts, std::string address) {
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = events_.empty();
    events_.push_back({kind, socket, std::move(parts), std::move(address)});
  }
  if (first) wake_();
}

void Pump::run() {
  for (;;) {
    std::vector<std::function<void()>> commands;
    {
      const std::lock_guard lock(mutex_);
      commands.swap(commands_);
    }
    for (const auto& work : commands) work();
    if (stopping_ && sockets_.empty()) return;
    for (auto& [number, socket] : sockets_) {
      if (socket.socket == nullptr) continue;
      if (socket.receiving) try_receive(number, socket);
      if (socket.sending) try_send(number, socket);
    }
    poll(cut_late());
  }
}

int64_t Pump::cut_late() {
  const Clock::time_point now = Clock::now();
  Clock::time_point next = Clock::time_point::max();
  for (auto& [number, socket] : sockets_) {
    if (socket.deadline > now) {
      next = std::min(next, socket.deadline);
    } else {
      for (const Connection& connection : socket.connections) connection.cut();
      socket.connections.clear();
    }
  }
  if (next == Clock::time_point::max()) return -1;
  return std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
}

void Pump::poll(int64_t timeout_ms) {
  items_.clear();
  monitored_.clear();
  items_.push_back({nullptr, wake_fd_, poll_in, 0});
  for (auto& [number, socket] : sockets_) {
    items_.push_back({socket.monitor, 0, poll_in, 0});
    monitored_.push_back(number);
  }
  for (auto& [number, socket] : sockets_) {
    const short events = static_cast<short>((socket.receiving ? poll_in : 0) | (socket.sending ? poll_out : 0));
    if (socket.socket != nullptr && events != 0) items_.push_back({socket.socket, 0, events, 0});
  }
  if (library_.poll(items_.data(), static_cast<int>(items_.size()), timeout_ms) < 0) return;
  if (items_[0].revents != 0) {
    uint64_t count;
    [[maybe_unused]] const ssize_t read = ::read(wake_fd_, &count, sizeof count);
  }
  for (size_t i = 0; i < monitored_.size(); ++i) {
    if (items_[i + 1].revents != 0) read_monitor(monitored_[i], sockets_.at(monitored_[i]));
  }
}

void Pump::read_monitor(uint32_t number, Socket& socket) {
  for (;;) {
    bool more = false;
    const SharedBytes head = receive_part(library_, socket.monitor, more);
    if (head.empty()) return;
    const SharedBytes address = more ? receive_part(library_, socket.monitor, more) : SharedBytes();
    uint16_t event = 0;
    int32_t descriptor = -1;
    if (head.bytes.size() == sizeof event + sizeof descriptor) {
      std::memcpy(&event, head.bytes.data(), sizeof event);
      std::memcpy(&descriptor, head.bytes.data() + sizeof event, sizeof descriptor);
    }
    std::string text(reinterpret_cast<const char*>(address.bytes.data()), address.bytes.size());
    switch (event) {
      case event_accepted:
        if (const auto connection = Connection::of(descriptor)) socket.connections.push_back(*connection);
        emit(EventKind::accepted, number, {}, std::move(text));
        break;
      case event_handshake_succeeded: emit(EventKind::connected, number); break;
      case event_disconnected:
        std::erase_if(socket.connections, [descriptor](const Connection& ended) { return ended.descriptor() == descriptor; });
        emit(EventKind::disconnected, number, {}, std::move(text));
        break;
      case event_connect_retried: emit(EventKind::retried, number); break;
      case event_monitor_stopped:
        library_.close(socket.monitor);
        sockets_.erase(number);
        return emit(EventKind::ended, number);
      default: break;
    }
  }
}

void Pump::try_receive(uint32_t number, Socket& socket) {
  Parts parts;
  bool more = true;
  while (more) {
    SharedBytes part = receive_part(library_, socket.socket, more);
    // The parts of a message arrive together: only the first can be missing.
    if (part.empty()) return;
    parts.push_back(std::move(part));
  }
  socket.receiving = false;
  emit(EventKind::received, number, std::move(parts));
}

void Pump::try_send(uint32_t number, Socket& socket) {
  for (size_t i = 0; i < socket.outgoing.size(); ++i) {
    const int flags = flag_dontwait | (i + 1 < socket.outgoing.size() ? flag_sndmore : 0);
    if (send_part(library_, socket.socket, socket.outgoing[i], flags)) continue;
    // No peer has room: later. Of a message that was begun, the peer is gone, and with it what it had.
    if (i == 0 && errno == EAGAIN) return;
    socket.sending = false;
    socket.outgoing.clear();
    return emit(EventKind::unsent, number);
  }
  socket.sending = false;
  socket.outgoing.clear();
  emit(EventKind::sent, number);
}

void Pump::close_now(uint32_t number, Socket& socket, int linger_ms) {
  if (socket.socket == nullptr) return;
  // Longer than we wait, so that the library has nothing to give up. libzmq 4.3.5 does that by dropping what waits, and aborts the
  // process if the peer disconnects at that moment when part of a message has left (clean_pipes in its session_base.cpp
  // cannot read the rest). A connection that is cut ends like any other. Not for ever: where a peer disconnects just before the
  // socket is closed, nobody is left to read what waits for it.
  const int library_linger_ms = std::min(linger_ms, INT_MAX - library_grace_ms) + library_grace_ms;
  library_.setsockopt(socket.socket, option_linger, &library_linger_ms, sizeof library_linger_ms);
  socket.deadline = Clock::now() + std::chrono::milliseconds(linger_ms);
  library_.close(socket.socket);
  socket.socket = nullptr;
  if (std::exchange(socket.sending, false)) emit(EventKind::unsent, number);
  socket.outgoing.clear();
  emit(EventKind::closed, number);
}

}  // namespace stemline::zmq
