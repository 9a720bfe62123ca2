"""Trained models behind HTTP: a page, a JSON API, and sentences of many clients decoded together (docs/serving.md).

Nothing here is imported but by ``seq2seq.serve``: FastAPI, pydantic and uvicorn are an extra.
"""
