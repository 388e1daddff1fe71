// A small HTTP server that logs each request, so that there is something to see.
const http = require('node:http');

const port = Number(process.env.PORT) || 3000;
let served = 0;

const server = http.createServer((request, response) => {
  served += 1;
  console.log(`${request.method} ${request.url} (#${served})`);
  if (request.url === '/slow') {
    setTimeout(() => response.end('slow, but here\n'), 500);
    return;
  }
  if (request.url === '/error') {
    console.error(`no such thing: ${request.url}`);
    response.statusCode = 500;
    response.end('as asked: an error\n');
    return;
  }
  response.end(`hello from process ${process.pid}\n`);
});

server.listen(port, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));
process.on('SIGINT', () => server.close(() => process.exit(0)));
