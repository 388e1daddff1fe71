// Says numbered lines.
let next = 0;
setInterval(() => {
  for (let n = 0; n < 20; n++) console.log(`line ${next++}`);
}, 10);
