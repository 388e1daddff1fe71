// Brings no library. Serves, asks itself now and then, and fails in the way it is told to.
const http = require('node:http');
const server = http
  .createServer((_request, response) => response.end('x'))
  .listen(0, '127.0.0.1', () => {
    setInterval(
      () => http.get({ port: server.address().port }, (response) => response.resume()),
      100,
    ).unref();
  });
process.stdin.on('data', (data) => {
  const how = String(data).trim();
  if (how === 'reject') Promise.reject(new TypeError('lost promise'));
  if (how === 'throw') throw new RangeError('not caught');
});
console.log(
  JSON.stringify({ execArgv: process.execArgv, title: process.title, main: require.main === module }),
);
