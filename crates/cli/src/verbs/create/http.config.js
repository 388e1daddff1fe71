module.exports = {
  apps: [
    {
      name: 'http',
      script: 'server.js',
      cwd: __dirname,
      port: Number(process.env.PORT) || 3000,
      health: { http: '/health' },
      max_memory_restart: '300M',
    },
  ],
};
