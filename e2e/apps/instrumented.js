// An app that measures itself with the unmodified @pm2/io, and says everything that such an app can say.
const io = require('@pm2/io');

io.init({ metrics: { http: true } });
const gauge = io.metric({ name: 'Orders', id: 'app/orders', unit: 'orders' });
gauge.set(42);
const counter = io.counter({ name: 'Count' });
counter.inc();
counter.inc();

io.action('greet', (reply) => reply({ greeting: 'hello' }));
io.action('echo', (param, reply) => reply({ param }));
io.action('twice', (reply) => {
  reply(1);
  reply(2);
});
process.send({ type: 'axm:action', data: { action_name: 'stream', action_type: 'scoped', arity: 2 } });
process.on('message', (message) => {
  if (message.msg !== 'stream' || !message.uuid) return;
  const send = (kind, data) =>
    process.send({
      type: `axm:scoped_action:${kind}`,
      data: { data, uuid: message.uuid, action_name: 'stream' },
    });
  send('stream', 'part one');
  send('error', 'something');
  send('end');
});

process.send({ type: 'axm:option:setPID', data: 5 });
process.send({ type: 'axm:option:configuration', data: { human_info: [['Port', 80]], error: true } });

// What the bus shall tell, said again and again: a test may come at any time.
setInterval(() => {
  io.notifyError(new Error('reported by hand'), { custom: { order: 7 } });
  io.emit('order:placed', { number: 7 });
  process.send({ type: 'own:topic', data: { a: [1, 'ü'] } });
  process.send({ type: 'axm:trace', data: { traceId: 'x' } });
  process.send({ type: 'empty', data: 0 });
  process.send({ no: 'type' });
  process.send(['raw', 1]);
}, 200);
