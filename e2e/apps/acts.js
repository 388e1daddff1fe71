// Offers actions over its IPC channel, and says on its output what it hears.
process.on('message', (message) => {
  const name = message.msg ?? message;
  // The original's `trigger` waits for ever on an answer that overtakes the daemon's own.
  const answer = (data) =>
    setTimeout(
      () => process.send({ type: 'axm:reply', data: { at: Date.now(), action_name: name, ...data } }),
      100,
    );
  if (name === 'hello') answer({ return: { said: 'hi', opts: message.opts } });
  if (name === 'text') answer({ return: 'some text' });
  if (name === 'nothing') answer({});
  if (name === 'die') process.exit(0);
  if (name === 'internal:inspect') answer({ return: process.env.INSPECT ?? '' });
  if (message.topic) console.log(`packet ${JSON.stringify(message)}`);
});
for (const action_name of ['hello', 'text', 'nothing', 'never', 'die', 'internal:inspect']) {
  process.send({ type: 'axm:action', data: { action_name, action_type: 'custom', arity: 1 } });
}
process.stdin.on('data', (data) => {
  console.log(`typed ${JSON.stringify(String(data))}`);
  console.error(`complains of ${String(data).length} characters`);
});
setInterval(() => {}, 1000);
