#include "connection.h"

#include <unistd.h>

#include <cstring>

namespace stemline::zmq {

bool Connection::Address::operator==(const Address& other) const {
  return size == other.size && std::memcmp(&storage, &other.storage, size) == 0;
}

std::optional<Connection> Connection::of(int descriptor) {
  Connection connection;
  connection.descriptor_ = descriptor;
  const auto read = [descriptor](auto& function, Address& address) {
    return function(descriptor, reinterpret_cast<sockaddr*>(&address.storage), &address.size) == 0;
  };
  if (!read(getsockname, connection.local_) || !read(getpeername, connection.peer_)) return std::nullopt;
  return connection;
}

void Connection::cut() const {
  // One of our own stays what it is while we look at it. (fcntl, which could close it in child processes, needs a newer C
  // library; a child that has it too does not keep the connection up.)
  const int held = dup(descriptor_);
  if (held < 0) return;
  if (const auto now = of(held); now && now->local_ == local_ && now->peer_ == peer_) shutdown(held, SHUT_RDWR);
  ::close(held);
}

}  // namespace stemline::zmq
