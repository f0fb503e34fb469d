/** The cookies of one server. On https their names keep other hosts from setting them (RFC 6265bis, "__Host-"). */
export class Cookies {
  readonly #prefix: string;
  readonly #isHttps: boolean;

  /** Cookies know no ports: on http the name tells two control planes on one machine apart. */
  constructor(isHttps: boolean, port: number) {
    this.#isHttps = isHttps;
    this.#prefix = isHttps ? '__Host-interlock' : `interlock-${port}`;
  }

  /** The value of a cookie of ours; undefined where there is none or more than one. */
  read(header: string | undefined, name: string): string | undefined {
    if (header === undefined) return undefined;
    const full = `${this.#prefix}-${name}=`;
    const found = header
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part.startsWith(full));
    return found.length === 1 ? found[0]?.slice(full.length) : undefined;
  }

  /** `Set-Cookie`. A strict one comes with no request that another site has begun. */
  set(name: string, value: string, { seconds, isStrict }: { seconds: number; isStrict: boolean }): string {
    const parts = [
      `${this.#prefix}-${name}=${value}`,
      'Path=/',
      'HttpOnly',
      `SameSite=${isStrict ? 'Strict' : 'Lax'}`,
      `Max-Age=${Math.max(0, Math.floor(seconds))}`,
    ];
    return [...parts, ...(this.#isHttps ? ['Secure'] : [])].join('; ');
  }

  clear(name: string): string {
    return this.set(name, '', { seconds: 0, isStrict: true });
  }
}
