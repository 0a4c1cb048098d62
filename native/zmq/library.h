// The ZeroMQ library that the npm package zeromq brings inside its own addon, used through its C functions. What is
// declared here is libzmq's stable C interface (zmq.h of 4.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace stemline::zmq {

// zmq_msg_t: opaque, moved and released only by the library.
struct alignas(8) Message {
  unsigned char opaque[64];
};

// zmq_pollitem_t
struct PollItem {
  void* socket;
  int fd;
  short events;
  short revents;
};

inline constexpr int type_pair = 0, type_pull = 7, type_push = 8;
inline constexpr int option_linger = 17, option_reconnect_ivl = 18, option_reconnect_ivl_max = 21, option_maxmsgsize = 22,
                     option_sndhwm = 23, option_rcvhwm = 24, option_last_endpoint = 32, option_tcp_keepalive = 34,
                     option_tcp_keepalive_cnt = 35, option_tcp_keepalive_idle = 36, option_tcp_keepalive_intvl = 37,
                     option_ipv6 = 42;
inline constexpr int flag_dontwait = 1, flag_sndmore = 2;
inline constexpr short poll_in = 1, poll_out = 2;
inline constexpr int event_connect_retried = 0x0004, event_accepted = 0x0020, event_disconnected = 0x0200,
                     event_monitor_stopped = 0x0400, event_handshake_succeeded = 0x1000;

struct Library {
  void* (*ctx_new)();
  int (*ctx_term)(void* context);
  void* (*socket)(void* context, int type);
  int (*close)(void* socket);
  int (*setsockopt)(void* socket, int option, const void* value, size_t size);
  int (*getsockopt)(void* socket, int option, void* value, size_t* size);
  int (*bind)(void* socket, const char* endpoint);
  int (*connect)(void* socket, const char* endpoint);
  int (*socket_monitor)(void* socket, const char* endpoint, int events);
  int (*poll)(PollItem* items, int count, long timeout_ms);
  int (*error)();
  const char* (*error_text)(int error);
  int (*msg_init)(Message* message);
  int (*msg_init_data)(Message* message, void* data, size_t size, void (*free)(void* data, void* hint), void* hint);
  int (*msg_recv)(Message* message, void* socket, int flags);
  int (*msg_send)(Message* message, void* socket, int flags);
  int (*msg_close)(Message* message);
  int (*msg_more)(const Message* message);
  void* (*msg_data)(Message* message);
  size_t (*msg_size)(const Message* message);

  // The library of this process, which stays loaded. nullptr and a reason in `why` if the zeromq package was not loaded
  // before or does not show these functions.
  static const Library* find(std::string& why);
};

}  // namespace stemline::zmq
