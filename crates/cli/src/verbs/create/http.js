const http = require('node:http');

const server = http.createServer((request, response) => {
  if (request.url === '/health') {
    response.end('ok\n');
    return;
  }
  response.end(`Hello from process ${process.pid}\n`);
});

server.listen(process.env.PORT, () => {
  console.log(`listening on ${server.address().port}`);
});

// The manager asks for the end by SIGINT: what has begun is answered first.
process.on('SIGINT', () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
