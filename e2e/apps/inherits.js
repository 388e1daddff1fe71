// Serves HTTP on the socket that it was given (LISTEN_FDS), says when it is ready, and on SIGINT answers what it has begun.
const http = require('node:http');

const delay = Number(process.env.DELAY ?? 0);
const names = process.env.LISTEN_FDNAMES.split(':');
const server = http.createServer((_, response) => {
  setTimeout(() => response.end(JSON.stringify({ pid: process.pid, names })), delay);
});
server.listen({ fd: 3 }, () => process.send('ready'));
process.on('SIGINT', () => server.close(() => process.exit()));
