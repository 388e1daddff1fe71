module.exports = {
  apps: [
    {
      name: 'cluster',
      script: 'server.js',
      cwd: __dirname,
      port: Number(process.env.PORT) || 3000,
      exec_mode: 'cluster',
      instances: 'max',
      max_memory_restart: '300M',
    },
  ],
};
