// Two sample apps: what `make run` shows in the dashboard.
module.exports = {
  apps: [
    {
      name: 'web',
      script: 'web.js',
      cwd: __dirname,
      env: { PORT: process.env.PORT || 3000 },
    },
    {
      name: 'worker',
      script: 'worker.py',
      interpreter: 'python3',
      cwd: __dirname,
    },
  ],
};
