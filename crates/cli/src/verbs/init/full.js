// What to run, and how. Start all of it with: pm2 start ecosystem.config.js
@EXPORT@ {
  apps: [
    {
      name: 'app', // default: the script's name
      script: './app.js',
      // cwd: '/srv/app', // folder to run in; the other paths start from it
      // args: '--port 8080',
      // interpreter: 'python3', // default: by the script's extension
      // interpreter_args: '',

      // How many
      // instances: 'max', // one per CPU; a number as well
      // exec_mode: 'cluster', // Node apps share their port

      // When to restart
      // watch: ['src'],
      // ignore_watch: ['node_modules', 'logs'],
      // max_memory_restart: '300M',
      // cron_restart: '0 3 * * *',
      // autorestart: true,
      // restart_delay: 0, // ms
      // exp_backoff_restart_delay: 100, // ms, longer each time
      // max_restarts: 16, // unstable restarts in a row
      // min_uptime: '1s', // an earlier end is unstable
      // stop_exit_codes: [0],

      // Start and stop
      // wait_ready: true, // the app says process.send('ready')
      // listen_timeout: 3000, // ms
      // kill_timeout: 1600, // ms until SIGKILL

      // Logs
      // out_file: './logs/out.log',
      // error_file: './logs/error.log',
      // merge_logs: true, // one file for all instances
      // log_date_format: 'YYYY-MM-DD HH:mm:ss',

      // Variables; --env production takes those of env_production on top
      env: {
        NODE_ENV: 'development',
      },
      env_production: {
        NODE_ENV: 'production',
      },
    },
  ],

  // For: pm2 deploy production
  // deploy: {
  //   production: {
  //     user: 'deploy',
  //     host: ['192.0.2.10'],
  //     ref: 'origin/main',
  //     repo: 'git@example.com:repository.git',
  //     path: '/srv/app',
  //     'post-deploy': 'npm ci && pm2 startOrReload ecosystem.config.js --env production',
  //   },
  // },
}
