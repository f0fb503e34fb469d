import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DescMessage, fromJsonString, type MessageShape, toJsonString } from '@bufbuild/protobuf';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { type Certificate, parseCertificate } from '../../identity/index.ts';
import {
  BundleStateSchema,
  type BundleState,
  RevocationStateSchema,
  type RevocationState,
  RuleStateSchema,
  type RuleState,
} from '../../proto/index.ts';
import type { HeldSvid } from '../svids/svid.ts';
import type { SvidStore } from '../svids/svid-cache.ts';
import { PrivateFiles } from './private-files.ts';

/** The agent's own identity. */
export interface AgentSvid {
  readonly spiffeId: SpiffeId;
  /** DER, the leaf first. */
  readonly chain: readonly Buffer[];
  /** PKCS#8 DER. */
  readonly key: Buffer;
  readonly attestor: string;
}

/** What became of a file that cannot be used. */
export type OnDamaged = (file: string, error: unknown) => void;

/**
 * What an agent keeps on disk to go on after a restart, also while the control plane is down. A damaged file is
 * reported and taken for none: the control plane has it all.
 */
export class AgentState {
  readonly #files: PrivateFiles;
  readonly #onDamaged: OnDamaged;
  readonly svids: SvidStore;

  /** Throws `io` where the directory cannot be used. */
  constructor(dir: string, onDamaged: OnDamaged) {
    this.#files = new PrivateFiles(dir);
    this.#onDamaged = onDamaged;
    this.svids = new SvidFiles(join(dir, 'svids'), onDamaged);
  }

  /** The agent's SVID, or undefined before its first attestation. */
  agent(): AgentSvid | undefined {
    return this.#read('agent.json', (text) => {
      // Each field is checked as it is used.
      const saved = JSON.parse(text) as Readonly<Record<string, unknown>>;
      const { chain, spiffeId } = readChain(saved['chain']);
      return { spiffeId, chain, key: readBytes(saved['key']), attestor: readText(saved['attestor']) };
    });
  }

  saveAgent({ spiffeId, chain, key, attestor }: AgentSvid): void {
    const text = { spiffeId, attestor, chain: chain.map(toBase64), key: toBase64(key) };
    this.#files.write('agent.json', JSON.stringify(text));
  }

  bundles(): BundleState | undefined {
    return this.#message('bundles.json', BundleStateSchema);
  }

  saveBundles(state: BundleState): void {
    this.#files.write('bundles.json', toJsonString(BundleStateSchema, state));
  }

  rules(): RuleState | undefined {
    return this.#message('rules.json', RuleStateSchema);
  }

  saveRules(state: RuleState): void {
    this.#files.write('rules.json', toJsonString(RuleStateSchema, state));
  }

  revocations(): RevocationState | undefined {
    return this.#message('revocations.json', RevocationStateSchema);
  }

  saveRevocations(state: RevocationState): void {
    this.#files.write('revocations.json', toJsonString(RevocationStateSchema, state));
  }

  #message<Desc extends DescMessage>(name: string, schema: Desc): MessageShape<Desc> | undefined {
    return this.#read(name, (text) => fromJsonString(schema, text));
  }

  #read<T>(name: string, parse: (text: string) => T): T | undefined {
    const text = this.#files.read(name);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      this.#onDamaged(join(this.#files.dir, name), error);
      return undefined;
    }
  }
}

/** SVIDs with their keys, a file each. */
class SvidFiles implements SvidStore {
  readonly #files: PrivateFiles;
  readonly #onDamaged: OnDamaged;

  constructor(dir: string, onDamaged: OnDamaged) {
    this.#files = new PrivateFiles(dir);
    this.#onDamaged = onDamaged;
  }

  load(): Map<string, HeldSvid> {
    const svids = new Map<string, HeldSvid>();
    for (const name of readdirSync(this.#files.dir)) {
      if (!name.endsWith('.json')) {
        // What a killed agent was writing.
        this.#remove(name);
        continue;
      }
      try {
        const { of, svid } = readSaved(this.#files.read(name) ?? '');
        if (fileOf(of) !== name) throw damaged('it is the file of another SVID');
        svids.set(of, svid);
      } catch (error) {
        this.#remove(name);
        this.#onDamaged(join(this.#files.dir, name), error);
      }
    }
    return svids;
  }

  save(of: string, { chain, key, ...rest }: HeldSvid): void {
    const saved: Saved = { of, ...rest, chain: chain.map(toBase64), key: toBase64(key) };
    try {
      this.#files.write(fileOf(of), JSON.stringify(saved));
    } catch (error) {
      // It is served all the same; after a restart a new one is signed.
      this.#onDamaged(join(this.#files.dir, fileOf(of)), error);
    }
  }

  remove(of: string): void {
    this.#remove(fileOf(of));
  }

  /** A disk that takes no changes any more must not end the agent. */
  #remove(name: string): void {
    try {
      this.#files.remove(name);
    } catch (error) {
      this.#onDamaged(join(this.#files.dir, name), error);
    }
  }
}

interface Saved extends Omit<HeldSvid, 'chain' | 'key' | 'spiffeId'> {
  readonly of: string;
  readonly spiffeId: string;
  readonly chain: readonly string[];
  readonly key: string;
}

/** What a file says is believed only where the certificate says it: whose it is, which one, and how long. */
function readSaved(text: string): { of: string; svid: HeldSvid } {
  const saved = JSON.parse(text) as Readonly<Record<string, unknown>>;
  const { chain, leaf, spiffeId } = readChain(saved['chain']);
  const { serial, notBefore, notAfter } = leaf;
  const [key, authority] = [readBytes(saved['key']), readText(saved['authority'])];
  return {
    of: readText(saved['of']),
    svid: { spiffeId, serial, chain, key, notBefore, notAfter, authority },
  };
}

function readChain(value: unknown): { chain: Buffer[]; leaf: Certificate; spiffeId: SpiffeId } {
  const chain = Array.isArray(value) ? value.map(readBytes) : [];
  const leaf = parseCertificate(chain[0] ?? Buffer.alloc(0));
  if (leaf.spiffeId === undefined) throw damaged('a certificate has no SPIFFE ID');
  return { chain, leaf, spiffeId: leaf.spiffeId };
}

function readBytes(value: unknown): Buffer {
  return fromBase64(readText(value));
}

function readText(value: unknown): string {
  if (typeof value === 'string') return value;
  throw damaged('a text is missing');
}

function damaged(why: string): InterlockError {
  return new InterlockError('state', 'state', `the file is not as the agent wrote it: ${why}`);
}

function fileOf(key: string): string {
  return `${createHash('sha256').update(key).digest('hex').slice(0, 40)}.json`;
}

function toBase64(bytes: Buffer): string {
  return bytes.toString('base64');
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, 'base64');
}
