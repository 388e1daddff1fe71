// Says that it is ready after $AFTER ms.
setTimeout(() => process.send('ready'), Number(process.env.AFTER ?? 300));
setInterval(() => {}, 1000);
