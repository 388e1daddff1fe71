// A cluster worker of every kind, by what the environment asks for: HTTP on $PORT, a UNIX socket at $SOCKET, UDP on $UDP, two ports
// of the kernel's choice with $ANY, and answers as slow as $DELAY says.
const cluster = require('node:cluster');
const http = require('node:http');

const me = JSON.stringify({ pid: process.pid, id: cluster.worker?.id, worker: cluster.isWorker });
const delay = Number(process.env.DELAY ?? 0);

const server = http.createServer((request, response) => {
  if (request.url === '/reject') Promise.reject(new Error('nobody catches this'));
  if (request.url === '/throw')
    setImmediate(() => {
      throw new Error('nobody catches that');
    });
  if (request.url === '/any') return response.end(JSON.stringify(ports));
  setTimeout(() => response.end(me), delay * Math.random());
});
server.on('error', (error) => console.log(`error ${error.code}`));

const ports = [];
if (process.env.ANY) {
  for (const index of [0, 1]) {
    const other = http
      .createServer((_, response) => response.end(me))
      .listen(0, '127.0.0.1', () => {
        ports[index] = other.address().port;
      });
  }
}
if (process.env.SOCKET) server.listen({ path: process.env.SOCKET, readableAll: true, writableAll: true });
else
  server.listen(Number(process.env.PORT), process.env.ADDRESS ?? '127.0.0.1', () => console.log('listening'));
if (process.env.UDP) {
  const udp = require('node:dgram').createSocket('udp4');
  udp.on('message', (_, from) => udp.send(me, from.port, from.address));
  udp.bind(Number(process.env.UDP), '127.0.0.1');
}
