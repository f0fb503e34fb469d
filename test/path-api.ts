import { Api } from '../src/cli/control/api.ts';

/** The API of a state directory by its paths, as somebody without our client calls it. */
export class PathApi extends Api {
  constructor(state: string) {
    super({ state });
  }

  get<T>(path: string, query: Readonly<Record<string, string>> = {}): Promise<T> {
    const text = new URLSearchParams(query).toString();
    return this.#answer('GET', text === '' ? path : `${path}?${text}`);
  }

  post<T>(path: string, body: object = {}): Promise<T> {
    return this.#answer('POST', path, body);
  }

  put<T>(path: string, body: object): Promise<T> {
    return this.#answer('PUT', path, body);
  }

  delete<T>(path: string): Promise<T> {
    return this.#answer('DELETE', path);
  }

  // A test says what it expects.
  async #answer<T>(method: string, path: string, body?: object): Promise<T> {
    return (await this.send(method, path, body)) as T;
  }
}
