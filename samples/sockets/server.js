// Serves on both sockets that it was given, and on SIGINT answers what it has begun.
const http = require('node:http');

const servers = [3, 4].map((fd) =>
  http.createServer((_, response) => response.end(`node, process ${process.pid}\n`)).listen({ fd }),
);
Promise.all(servers.map((server) => new Promise((done) => server.once('listening', done)))).then(() => process.send('ready'));
process.on('SIGINT', () => {
  Promise.all(servers.map((server) => new Promise((done) => server.close(done)))).then(() => process.exit());
});
