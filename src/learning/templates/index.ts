export {
  learnTemplates,
  MOST_TEMPLATES,
  type PathObservation,
  type PathTemplates,
  type TemplateOptions,
} from './learn.ts';
export { nameless, TemplateMatcher, withUniqueNames } from './matcher.ts';
export { MAX_DOCUMENT_PATHS, openApiTemplates } from './openapi.ts';
