// An app that does as it is told by its environment: when it says `ready`, how it takes a `shutdown` message, whether it is well.
const http = require('node:http');
const fs = require('node:fs');

const { PORT, READY_FILE, SICK_FILE, MESSAGE_CODE, CRASH_AFTER, TELL } = process.env;
if (CRASH_AFTER) setTimeout(() => process.exit(7), Number(CRASH_AFTER));
if (READY_FILE) {
  const look = setInterval(() => {
    if (!fs.existsSync(READY_FILE)) return;
    clearInterval(look);
    process.send('ready');
  }, 10);
}
process.on('message', (message) => {
  if (TELL) console.log(`message ${JSON.stringify(message)}`);
  if (message === 'shutdown' && MESSAGE_CODE) process.exit(Number(MESSAGE_CODE));
});
if (PORT) {
  const server = http.createServer((request, response) => {
    const sick = request.url === '/live' && SICK_FILE && fs.existsSync(SICK_FILE);
    response.writeHead(sick ? 503 : 200).end(String(process.pid));
  });
  server.listen(Number(PORT), '127.0.0.1');
}
setInterval(() => {}, 1000);
console.log('up');
