// Offers an action, as an app with @pm2/io does, and does it.
const say = (type, data) => process.send?.({ type, data });
let calls = 0;
say('axm:action', { action_name: 'add', action_type: 'custom', arity: 2, opts: null });
process.on('message', (message) => {
  const name = message?.msg ?? message;
  if (name !== 'add') return;
  calls += 1;
  say('axm:reply', { action_name: 'add', return: { calls, got: message?.opts ?? null } });
});
setInterval(() => {}, 1000);
