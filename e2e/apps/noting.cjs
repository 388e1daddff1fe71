// Notes in one file when it begins, is ready, and is told to end.
const fs = require('node:fs');

const note = (what) => fs.appendFileSync(process.env.NOTES, `${what} ${process.env.name}\n`);
note('begin');
setTimeout(() => {
  note('ready');
  process.send('ready');
}, 100);
process.on('SIGINT', () => {
  note('end');
  process.exit(0);
});
setInterval(() => {}, 1000);
