// Ignores every polite signal.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => console.log(`ignored ${signal}`));
setInterval(() => {}, 1000);
console.log('stubborn');
