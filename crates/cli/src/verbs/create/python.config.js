module.exports = {
  apps: [
    {
      name: 'python',
      script: 'server.py',
      cwd: __dirname,
      sockets: [`tcp:127.0.0.1:${process.env.PORT || 3000}`],
    },
  ],
};
