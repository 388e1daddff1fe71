// Work that comes again and again.
const every = Number(process.env.EVERY_SECONDS) || 10;
let done = 0;

async function work() {
  done += 1;
  console.log(`done ${done} times`);
}

async function loop() {
  for (;;) {
    await work();
    await new Promise((resolve) => setTimeout(resolve, every * 1000));
  }
}

process.on('SIGINT', () => {
  console.log('asked to end');
  process.exit(0);
});

loop();
