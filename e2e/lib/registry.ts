// A package registry on loopback, as far as `npm install` needs one: what was packed is there, and nothing else.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { discard, scratch } from './scratch.ts';

export class Registry {
  private readonly packages = new Map<string, { version: string; manifest: object; tarball: Buffer }>();
  private readonly dir = scratch();

  private constructor(private readonly server: Server) {}

  static async start(): Promise<Registry> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const registry = new Registry(server);
    server.on('request', (request, response) => {
      const [name, file] = decodeURIComponent(request.url ?? '')
        .slice(1)
        .split('/-/');
      const found = registry.packages.get(name ?? '');
      if (!found) {
        response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not found"}');
      } else if (file) {
        response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(found.tarball);
      } else {
        const body = registry.describe(name ?? '');
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      }
    });
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  /** What makes npm ask here. */
  get env(): Record<string, string> {
    return { npm_config_registry: this.url, npm_config_cache: path.join(this.dir, 'cache') };
  }

  /** Packs a package of one script and offers it. */
  publish(name: string, version: string, script: string) {
    const dir = path.join(this.dir, `${name}-${version}`);
    mkdirSync(dir, { recursive: true });
    const manifest = { name, version, main: 'index.js' };
    writeFileSync(path.join(dir, 'package.json'), JSON.stringify(manifest));
    writeFileSync(path.join(dir, 'index.js'), script);
    const said = execFileSync('npm', ['pack', '--silent', '--pack-destination', this.dir], { cwd: dir });
    const file = said.toString().trim().split('\n').at(-1) ?? '';
    this.packages.set(name, { version, manifest, tarball: readFileSync(path.join(this.dir, file)) });
  }

  async dispose() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    discard(this.dir);
  }

  private describe(name: string) {
    const found = this.packages.get(name);
    if (!found) return {};
    const { version, manifest, tarball } = found;
    const dist = {
      tarball: `${this.url}${name}/-/${name}-${version}.tgz`,
      shasum: createHash('sha1').update(tarball).digest('hex'),
    };
    return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
  }
}
