// Tells the size of what it is sent, and sends back as much as it is asked for.
process.on('message', ({ topic, data }) => {
  if (topic === 'measure') process.send({ type: 'measured', data: { length: data.length, sum: sum(data) } });
  if (topic === 'fill') process.send({ type: 'filled', data: 'ü'.repeat(data) });
  if (topic === 'flood') {
    for (let n = 0; n < data.count; n++)
      process.send({ type: 'flood', data: { n, text: 'x'.repeat(data.size) } });
    process.send({ type: 'flooded', data: { count: data.count } });
  }
  if (topic === 'disconnect') process.disconnect();
});
const sum = (text) => {
  let sum = 0;
  for (let at = 0; at < text.length; at += 1021) sum = (sum * 31 + text.charCodeAt(at)) % 1_000_003;
  return sum;
};
setInterval(() => {}, 1000);
