// Exits with $CODE after $AFTER ms.
setTimeout(() => process.exit(Number(process.env.CODE ?? 1)), Number(process.env.AFTER ?? 0));
