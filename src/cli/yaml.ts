import { Document, Scalar, visit } from 'yaml';
import { printable } from './terminal.ts';

/**
 * Plain data as YAML that every reader takes the same way: what YAML 1.1 (kubectl, Helm) would read as something
 * else than text is quoted, and a character that reorders or hides text stands as its escape.
 */
export function yamlText(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false, compat: 'yaml-1.1' });
  visit(document, {
    Scalar(_key, scalar) {
      const { value: text } = scalar;
      // Escapes mean something between double quotes only; line feeds alone need none.
      if (typeof text === 'string' && escaped(text) !== text) scalar.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return escaped(document.toString({ lineWidth: 110 }));
}

const escaped = (text: string) => text.split('\n').map(printable).join('\n');
