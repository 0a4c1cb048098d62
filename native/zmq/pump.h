// Moves multipart messages between ZeroMQ sockets and their user, on one thread that owns the sockets. Message parts are
// never copied: received ones are the library's memory, sent ones the sender's, shared until the last holder is done.
#pragma once

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "../core/shared_bytes.h"
#include "connection.h"
#include "library.h"

namespace stemline::zmq {

using Parts = std::vector<SharedBytes>;

enum class SocketType : uint8_t { pull, push };

struct SocketOptions {
  // Messages that may wait on this side of each connection.
  int high_water_mark = 0;
  // Of a pull socket: largest part that is received; a connection that brings a larger one is closed.
  int64_t max_message_bytes = -1;
  bool ipv6 = false;
};

enum class EventKind : uint8_t {
  received,      // `parts`, after `receive`
  sent,          // the socket's queue has taken the message
  unsent,        // none of the message was sent: its peer went away meanwhile, or the socket was closed
  accepted,      // a peer connected to a push socket
  connected,     // a pull socket's peer has answered
  disconnected,  // of either
  retried,       // a pull socket tries again to connect
  closed,        // no more messages come from the socket
  ended,         // messages that waited have left or were given up; the last event of a socket
};

struct Event {
  EventKind kind;
  uint32_t socket;
  Parts parts;
  // Of accepted and disconnected: the address.
  std::string address;
};

// Thread-safe. Commands never block; answers come as events, in order for each socket.
class Pump {
 public:
  // `wake` is called on the pump's thread when there are events for `take_events` where none were.
  Pump(const Library& library, std::function<void()> wake);
  // Closes all sockets; what they have not sent within 100 ms is given up. Waits until that is done, at most 3 s more.
  ~Pump();
  Pump(const Pump&) = delete;
  Pump& operator=(const Pump&) = delete;

  // Opens a socket that binds (push) or connects (pull) to the endpoint. Returns its number, never 0, and in `bound` the
  // endpoint as it is; or 0 and the reason in `why`.
  uint32_t open(SocketType type, const SocketOptions& options, const std::string& endpoint, std::string& bound, std::string& why);

  // Asks for the next message of a pull socket.
  void receive(uint32_t socket);
  // Sends a message by a push socket. One at a time.
  void send(uint32_t socket, Parts parts);
  // Opens a connection again that the library has given up.
  void connect(uint32_t socket, std::string endpoint);
  // Closes a socket; what it has accepted to send may take until `linger_ms` from now.
  void close(uint32_t socket, int linger_ms);

  std::deque<Event> take_events();

 private:
  using Clock = std::chrono::steady_clock;

  struct Socket {
    void* socket = nullptr;
    void* monitor = nullptr;
    bool receiving = false;
    bool sending = false;
    Parts outgoing;
    // Of a push socket: those that have not ended, as far as its monitor has said.
    std::vector<Connection> connections;
    // Of a closed socket: when what has not been sent is given up.
    Clock::time_point deadline = Clock::time_point::max();
  };

  void command(std::function<void()> work);
  void run();
  // Cuts the connections of closed sockets whose time is over. Returns the milliseconds until there will be another such
  // socket; -1 if there is none.
  int64_t cut_late();
  // Waits until there is something to do, or for so long, and reads what monitors say.
  void poll(int64_t timeout_ms);
  void read_monitor(uint32_t number, Socket& socket);
  void try_receive(uint32_t number, Socket& socket);
  void try_send(uint32_t number, Socket& socket);
  void close_now(uint32_t number, Socket& socket, int linger_ms);
  void emit(EventKind kind, uint32_t socket, Parts parts = {}, std::string address = {});

  const Library& library_;
  void* const context_;
  const int wake_fd_;
  const std::function<void()> wake_;

  std::mutex mutex_;
  std::vector<std::function<void()>> commands_;
  std::deque<Event> events_;
  bool stopping_ = false;
  uint32_t last_number_ = 0;

  // The thread's own.
  std::unordered_map<uint32_t, Socket> sockets_;
  std::vector<PollItem> items_;
  std::vector<uint32_t> monitored_;

  // Of libuv, as in library.cpp.
  uv_thread_t thread_;
};

}  // namespace stemline::zmq
