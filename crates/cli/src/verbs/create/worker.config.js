module.exports = {
  apps: [
    {
      name: 'worker',
      script: 'worker.js',
      cwd: __dirname,
      env: { EVERY_SECONDS: '10' },
      exp_backoff_restart_delay: 100,
    },
  ],
};
