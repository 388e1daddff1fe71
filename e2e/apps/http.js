// Serves HTTP on $PORT and talks to its manager over the IPC channel when there is one.
const http = require('node:http');

const server = http.createServer((request, response) => {
  if (request.url === '/stream') {
    response.write('open\n');
    setInterval(() => response.write('still\n'), 50);
    return;
  }
  response.end(`${process.pid}`);
});
server.listen(Number(process.env.PORT), '127.0.0.1', () => console.log('listening'));
if (process.send) {
  process.send('ready');
  process.on('message', (message) => console.log(`message ${JSON.stringify(message)}`));
}
