@EXPORT@ {
  apps: [
    {
      name: 'app',
      script: './app.js',
    },
  ],
}
