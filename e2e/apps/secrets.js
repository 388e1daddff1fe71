// Says what its host's owner would rather keep: in output, errors, events and metrics, over and over.
const say = (type, data) => process.send?.({ type, data });
setInterval(() => {
  console.log('paid with card 4111-1111-1111-1111 by customer Roe');
  console.error('no such customer Doe');
  say('axm:monitor', {
    'Revenue today': { value: 4711, unit: 'EUR', type: 'custom', historic: true },
    Visits: { value: 42, unit: '', type: 'custom', historic: true },
  });
  say('human:event', { __name: 'order', iban: 'DE02120300000000202051', n: 1 });
  say('process:exception', {
    message: 'customer Poe has no card 4222-2222-2222-2222',
    stack: 'Error: customer Poe\n    at pay (/srv/shop.js:1:1)',
    metadata: { iban: 'DE02500105170137075030', order: 17 },
  });
}, 100);
