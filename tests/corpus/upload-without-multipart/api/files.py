from fastapi import APIRouter, UploadFile

router = APIRouter()


@router.post("/photo")
async def photo(photo: UploadFile):
    return {"bytes": len(await photo.read())}
