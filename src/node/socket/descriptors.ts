import { type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { nestedTypes } from '@bufbuild/protobuf/reflect';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/** The descriptors of some services, their files and what those import, found by the names that reflection asks for. */
export class Descriptors {
  /** Full names, in order. */
  readonly services: readonly string[];
  readonly #files = new Map<string, DescFile>();
  readonly #symbols = new Map<string, DescFile>();
  /** Type -> number of the extension -> file. */
  readonly #extensions = new Map<string, Map<number, DescFile>>();

  constructor(services: readonly DescService[]) {
    this.services = services.map(({ typeName }) => typeName).toSorted();
    for (const { file } of services) this.#add(file);
  }

  /** The file of this name as it is written in imports. */
  file(name: string): DescFile | undefined {
    return this.#files.get(name);
  }

  /** The file that declares a service, message, enum or extension, or the one that a method or field belongs to. */
  fileOf(symbol: string): DescFile | undefined {
    return (
      this.#symbols.get(symbol) ?? this.#symbols.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf('.'))))
    );
  }

  /** The file that declares the extension of a message by its number. */
  fileOfExtension(message: string, number: number): DescFile | undefined {
    return this.#extensions.get(message)?.get(number);
  }

  /** Numbers of the known extensions of a message; undefined for an unknown message. */
  extensionsOf(message: string): number[] | undefined {
    const numbers = this.#extensions.get(message);
    if (numbers !== undefined) return [...numbers.keys()].toSorted((a, b) => a - b);
    return this.#symbols.has(message) ? [] : undefined;
  }

  #add(file: DescFile): void {
    const { name } = file.proto;
    if (this.#files.has(name)) return;
    this.#files.set(name, file);
    for (const type of nestedTypes(file)) {
      this.#symbols.set(type.typeName, file);
      if (type.kind !== 'extension') continue;
      const { typeName } = type.extendee;
      const numbers = this.#extensions.get(typeName) ?? new Map<number, DescFile>();
      this.#extensions.set(typeName, numbers.set(type.number, file));
    }
    for (const dependency of file.dependencies) this.#add(dependency);
  }
}

/** A file and all that it imports as FileDescriptorProto bytes, the file first, without those that were sent before. */
export function encodedFiles(file: DescFile, sent: Set<string>): Uint8Array[] {
  if (sent.has(file.proto.name)) return [];
  sent.add(file.proto.name);
  return [
    toBinary(FileDescriptorProtoSchema, file.proto),
    ...file.dependencies.flatMap((dependency) => encodedFiles(dependency, sent)),
  ];
}
