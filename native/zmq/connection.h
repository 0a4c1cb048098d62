// One TCP connection of a socket of ZeroMQ, whose descriptor the library owns and tells to monitors.
#pragma once

#include <sys/socket.h>

#include <optional>

namespace stemline::zmq {

class Connection {
 public:
  // nullopt if the descriptor is no connection, or none any more.
  static std::optional<Connection> of(int descriptor);

  int descriptor() const { return descriptor_; }

  // Ends the connection for both sides, as its peer could: the library finds it ended. Does nothing if the descriptor has
  // become something else since.
  void cut() const;

 private:
  struct Address {
    sockaddr_storage storage{};
    socklen_t size = sizeof(sockaddr_storage);

    bool operator==(const Address& other) const;
  };

  int descriptor_ = -1;
  Address local_, peer_;
};

}  // namespace stemline::zmq
