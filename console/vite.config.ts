import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// Where `npm run dev:console` finds a control plane.
const controlPlane = 'http://127.0.0.1:7080';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react()],
  server: { proxy: { '/v1': controlPlane } },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // What belongs to which page: the build weighs the first view by it.
    manifest: 'manifest.json',
    target: 'es2023',
    // The control plane's content security policy takes no inline script.
    modulePreload: { polyfill: false },
    // A data: URL would need a wider policy than 'self'.
    assetsInlineLimit: 0,
  },
});
