// Says all that an app can say to a hub, over and over, each with a mark of its own.
const mark = `mark-${process.env.pm_id}-end`;
const say = (type, data) => process.send?.({ type, data });
setInterval(() => {
  console.log(`out ${mark}`);
  console.error(`err ${mark}`);
  say('axm:monitor', { Words: { value: mark, unit: '', type: 'custom', historic: false } });
  say('human:event', { __name: `event ${mark}` });
  say('process:exception', { message: `exception ${mark}`, stack: `Error: ${mark}` });
}, 200);
