import { getSystemErrorMap } from 'node:util';
import { InterlockError } from '../access/index.ts';

// Numbers of sockets' options and of system calls are those of <asm-generic/socket.h> and of the unified table (since
// Linux 5.3), which x64 and arm64 share; other processors number them differently.
const ARCHITECTURES = new Set(['x64', 'arm64']);

type Library = ReturnType<typeof open>;
let opened: Library | undefined;

/** The C library of this process, and why its last call failed. Throws `unavailable` on another platform. */
export function library(): Library {
  opened ??= open();
  return opened;
}

function open() {
  if (process.platform !== 'linux') throw missing(`${process.platform} is not supported, only Linux is`);
  if (!ARCHITECTURES.has(process.arch)) throw missing(`${process.arch} processors are not supported`);
  const ffi = loadQuietly();
  const c = new ffi.DynamicLibrary(null);
  const errnoAt = c.getFunction('__errno_location', { return: 'pointer', arguments: [] })();
  return {
    getFunction: c.getFunction.bind(c),
    /** Of the last call that failed; ask at once. */
    errno: () => ffi.getInt32(errnoAt),
  };
}

/** node:ffi without the sentence that it is experimental; every other warning stays. */
function loadQuietly() {
  const original = Object.getOwnPropertyDescriptor(process, 'emitWarning');
  const emitWarning = process.emitWarning.bind(process);
  const quiet = (...[warning, ...rest]: Parameters<typeof emitWarning>) => {
    const text = typeof warning === 'string' ? warning : warning.message;
    if (!text.startsWith('FFI is an experimental feature')) emitWarning(warning, ...rest);
  };
  // The overloads differ in their second argument only, which is passed on as it came.
  process.emitWarning = quiet as typeof emitWarning;
  try {
    return process.getBuiltinModule('node:ffi');
  } finally {
    if (original !== undefined) Object.defineProperty(process, 'emitWarning', original);
  }
}

/** What this machine cannot do, as `unavailable`. */
export function missing(reason: string): InterlockError {
  return new InterlockError('unavailable', 'system', `system calls cannot be made here: ${reason}`);
}

/** A call that the system refused, as `io`. */
export function failed(call: string, errno: number): InterlockError {
  const [name = `error ${errno}`, text = ''] = getSystemErrorMap().get(-errno) ?? [];
  return new InterlockError('io', call, `the system refused ${call}: ${name} ${text}`.trimEnd());
}
