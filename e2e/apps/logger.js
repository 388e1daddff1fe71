// Logs numbered lines at $RATE a second, serves HTTP, and uses the IPC channel: all that a daemon's death could hurt.
const http = require('node:http');

const rate = Number(process.env.RATE) || 10_000;
const perTick = Math.ceil(rate / 100);
let next = 0;

const server = http.createServer((_request, response) => response.end(`${process.pid}`));
server.keepAliveTimeout = 600_000;
server.listen(Number(process.env.PORT), '127.0.0.1');

setInterval(() => {
  let block = '';
  for (let i = 0; i < perTick; i += 1) {
    block += `line ${next}\n`;
    next += 1;
  }
  process.stdout.write(block);
  // Large frames in both sizes: those that fit a socket buffer and those that do not.
  process.send?.({ type: 'tick', data: { next, filler: 'x'.repeat(next % 7 === 0 ? 300_000 : 100) } });
}, 10);

process.on('message', (message) => process.stderr.write(`got ${JSON.stringify(message).length}\n`));
process.on('disconnect', () => process.stderr.write('DISCONNECTED\n'));
process.on('uncaughtException', (error) => {
  process.stderr.write(`DIED ${error.stack}\n`);
  process.exit(1);
});
