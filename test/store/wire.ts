import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/** One connection through the wire: what the program holds, and what the database holds. */
export interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** Bytes on their way to the database that were held back. */
  readonly held: Buffer[];
}

/** What becomes of bytes on their way to the database; the default passes them on. */
export type OnBytes = (bytes: Buffer, link: Link) => 'pass' | 'hold';

/** A wire between the program and a database's Unix socket, which can be cut, frozen, and listened to. */
export class Wire {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #links = new Set<Link>();
  #onBytes: OnBytes = () => 'pass';
  #frozen = false;
  #refuses = false;

  private constructor(server: ReturnType<typeof createServer>, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** A wire to the server whose socket is in `dir`. */
  static async to(dir: string): Promise<Wire> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const wire = new Wire(server, typeof address === 'object' ? (address?.port ?? 0) : 0);
    server.on('connection', (client) => wire.#link(client, connect(join(dir, '.s.PGSQL.5432'))));
    return wire;
  }

  /** Ends every connection, and refuses new ones until {@link mend}. */
  cut(): void {
    this.#refuses = true;
    for (const link of this.#links) link.client.destroy();
  }

  /** From now on nothing comes through, and nobody is told: as a network that loses every packet. */
  freeze(): void {
    this.#frozen = true;
  }

  /** New connections work again; frozen ones stay as they are. */
  mend(): void {
    this.#refuses = false;
    this.#frozen = false;
    this.#links.clear();
  }

  /** Looks at everything that goes to the database from now on. */
  watch(onBytes: OnBytes): void {
    this.#onBytes = onBytes;
  }

  close(): void {
    this.#server.close();
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
  }

  #link(client: Socket, server: Socket): void {
    const link: Link = { client, server, held: [] };
    for (const socket of [client, server]) socket.on('error', () => {});
    if (this.#refuses) {
      client.destroy();
      server.destroy();
      return;
    }
    this.#links.add(link);
    const isFrozen = () => this.#frozen || !this.#links.has(link);
    client.on('data', (bytes: Buffer) => {
      if (isFrozen()) return;
      if (link.held.length > 0 || this.#onBytes(bytes, link) === 'hold') link.held.push(bytes);
      else server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (!isFrozen()) client.write(bytes);
    });
    // What was held back keeps the database's side open: to it the client is still there.
    client.on('close', () => {
      if (link.held.length === 0) server.destroy();
    });
    server.on('close', () => {
      if (!isFrozen()) client.destroy();
    });
  }
}
