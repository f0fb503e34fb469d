export {
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  type KeyAlgorithmRow,
  type KeyKind,
  SIGNATURE_ALGORITHMS,
  type SignatureAlgorithmRow,
} from './algorithms.ts';
export { keyIdBytes, keyIdOf, type PublicKeyInfo, readPublicKey, rowOfSpki } from './public-key.ts';
export {
  exportPkcs8,
  generateKey,
  importPkcs8,
  pooledRandom,
  type RandomBytes,
  type Signer,
  signerOf,
  spkiOf,
} from './signer.ts';
