/// <reference types="vitest/config" />
import { defineConfig } from 'vite';

// Where `npm run dev` sends API calls; a hub started by hand listens here.
const hub = process.env.PILOTHOUSE_HUB ?? 'http://127.0.0.1:8484';

export default defineConfig({
  // Relative asset addresses: the hub may be published under a sub-path by a reverse proxy.
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: {
    proxy: { '/api': { target: hub, ws: true } },
  },
  build: {
    target: 'es2023',
    sourcemap: false,
    // Inlined data: addresses would be refused by the Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Names with a plain hash after the last dash: the hub lets browsers keep such files for ever.
    rollupOptions: { output: { hashCharacters: 'hex' } },
  },
  test: {
    include: ['test/unit/**/*.test.ts', 'test/unit/**/*.test.tsx'],
    environment: 'node',
  },
});
