// In words that the oldest Node still understands.
console.log('runs', process.version);
setInterval(Object, 1000);
