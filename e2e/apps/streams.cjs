// Offers a scoped action, as an app with @pm2/io does: it tells what it does while it runs.
const tell = (type, data) => process.send?.({ type, data });
tell('axm:action', { action_name: 'count', action_type: 'scoped', arity: 2 });
tell('axm:action', { action_name: 'break', action_type: 'scoped', arity: 2 });
tell('axm:action', { action_name: 'greet', action_type: 'custom', arity: 1 });
process.on('message', (message) => {
  const name = message?.msg ?? message;
  const step = (kind, data) =>
    tell(`axm:scoped_action:${kind}`, { data, uuid: message.uuid, action_name: name });
  if (name === 'greet') tell('axm:reply', { action_name: name, return: { greeting: 'hello' } });
  if (!message?.uuid) return;
  if (name === 'break') return step('error', 'nothing to count');
  if (name !== 'count') return;
  const last = Number(message.opts?.to ?? 3);
  for (let n = 1; n <= last; n++) step('stream', { n });
  step('stream', 'almost there');
  step('end', { counted: last });
});
setInterval(() => {}, 1000);
