// Prints what it was told to, then lives on.
console.log(process.env.OUT ?? 'to stdout');
console.error(process.env.ERR ?? 'to stderr');
console.log(`args ${JSON.stringify(process.argv.slice(2))}`);
console.log(
  `env ${process.env.CUSTOM} ${process.env.pm_id} ${process.env.name} ${process.env.NODE_APP_INSTANCE}`,
);
setInterval(() => {}, 1000);
