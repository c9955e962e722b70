// What a line in /etc/hosts and a proxy on port 443 do for a client whose host is fixed: connections to
// these hosts go to another port of this machine. Names, TLS and the client stay as they are.
const net = require("net");

const hosts = JSON.parse(process.env.OVERRIDE_HOSTS);
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {
  const [options] = Array.isArray(given[0]) ? given[0] : given;
  if (options && hosts.includes(options.host)) {
    options.host = "127.0.0.1";
    options.port = Number(options.port) === 80 ? process.env.PORT_OF_80 : process.env.PORT_OF_443;
  }
  return connect.apply(this, given);
};
