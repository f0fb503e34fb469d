import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

/** Both ends of one connection, and what was said on it while the wire was cut. */
interface Line {
  readonly here: Socket;
  readonly there: Socket;
  readonly held: { readonly to: Socket; readonly bytes: Buffer }[];
}

/**
 * A wire to a server, which can be cut as a network is: nothing comes through any more, and nobody is told. Connections stay
 * open, new ones are taken and never answered.
 */
export class Wire {
  readonly #server: Server;
  readonly #direct: URL;
  readonly #lines = new Set<Line>();
  /** Taken while it was cut. */
  readonly #waiting: Socket[] = [];
  readonly #opened: Socket[] = [];
  #isCut = false;

  private constructor(direct: URL, server: Server) {
    this.#direct = direct;
    this.#server = server;
  }

  /** To the server and the schema of a URL that names the directory of its socket as the host. */
  static async to(direct: string): Promise<Wire> {
    const server = createServer();
    const wire = new Wire(new URL(direct), server);
    server.on('connection', (socket) => wire.#take(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return wire;
  }

  /** The way to the same schema over this wire. */
  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // It listens on a port.
    const schema = this.#direct.searchParams.get('schema');
    return `postgres://postgres@127.0.0.1:${port}/postgres?sslmode=disable&schema=${schema}`;
  }

  /** Nothing comes through from now on. */
  cut(): void {
    this.#isCut = true;
  }

  /**
   * Is whole again. What was held up comes late where `late` says so; else the connections of before are as good as cut
   * for ever: nothing that is said on them is answered.
   */
  mend(late: boolean): void {
    this.#isCut = false;
    for (const line of this.#lines) {
      if (!late) this.#lines.delete(line);
      else {
        for (const { to, bytes } of line.held.splice(0)) to.write(bytes);
        // Who hears of a connection that has ended at its other end says so.
        if (line.here.destroyed) line.there.end();
        if (line.there.destroyed) line.here.destroy();
      }
    }
    for (const here of this.#waiting.splice(0)) if (late && !here.destroyed) this.#join(here);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#opened) socket.destroy();
  }

  #take(here: Socket): void {
    this.#opened.push(here);
    here.on('error', () => {});
    // The server hears of it when it comes through.
    if (this.#isCut) this.#waiting.push(here);
    else this.#join(here);
  }

  #join(here: Socket): void {
    const path = join(this.#direct.searchParams.get('host') ?? '', '.s.PGSQL.5432');
    const line = { here, there: connect({ path }), held: [] };
    this.#opened.push(line.there);
    this.#lines.add(line);
    this.#pass(line, here, line.there);
    this.#pass(line, line.there, here);
  }

  #pass(line: Line, from: Socket, to: Socket): void {
    const isThrough = () => !this.#isCut && this.#lines.has(line);
    from.on('data', (bytes: Buffer) => {
      if (isThrough()) to.write(bytes);
      else if (this.#lines.has(line)) line.held.push({ to, bytes });
    });
    from.on('error', () => {});
    // The other end of a wire that is cut does not hear that this one has gone.
    from.on('close', () => {
      if (isThrough()) to.destroy();
    });
  }
}
