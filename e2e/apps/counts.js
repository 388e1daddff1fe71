// Writes numbered lines until it is ended: COUNT_MS between them, COUNT_PAD bytes more in each.
let n = 0;
const pad = 'x'.repeat(Number(process.env.COUNT_PAD ?? 40));
setInterval(
  () => {
    for (let i = 0; i < 10; i += 1) process.stdout.write(`count ${++n} ${pad}\n`);
  },
  Number(process.env.COUNT_MS ?? 5),
);
